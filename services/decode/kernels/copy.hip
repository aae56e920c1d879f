/* A page to another one, in every layer: a block each. */
KERNEL(GPU_THREADS, gpu_copy_page, gpu_copy)
{
	size_t n = (size_t)p.n_kv_heads * 2 * GPU_PAGE * p.dim_stride / 8;
	u4 *layer = (u4 *)(p.cache + (size_t)bx() * p.layer_stride);

	wait_for_last();
	for (size_t i = (size_t)tid(); i < n; i += GPU_THREADS)
		layer[(size_t)p.to * n + i] = layer[(size_t)p.from * n + i];
}
