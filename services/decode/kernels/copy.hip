/* A part of a page to another one, in every layer: a block each. */
KERNEL(GPU_THREADS, gpu_copy_page, gpu_copy)
{
	size_t page = (size_t)p.n_kv_heads * 2 * GPU_PAGE * p.dim_stride;
	uint16_t *layer = p.cache + (size_t)bx() * p.layer_stride;
	int n = p.n * p.dim_stride;

	wait_for_last();
	for (int h = 0; h < 2 * p.n_kv_heads; h++) {
		size_t at = (size_t)h * GPU_PAGE * p.dim_stride;

		for (int i = tid(); i < n; i += GPU_THREADS)
			layer[(size_t)p.to * page + at + i] =
			    layer[(size_t)p.from * page + at + i];
	}
}
