#!/usr/bin/env python3
"""Write a GGUF of the 2B4T shape with random ternary weights, for measuring peers.

usage: synth_gguf.py [--type T] [--head H] [--arch A] [--layers N] OUT

  --type   i2_s (bitnet.cpp), iq2_bn (ik_llama.cpp), tq2_0 or tq1_0 (llama.cpp)
  --head   q6_k, q8_0, f16: the embedding, which is the head, too
  --arch   bitnet-b1.58, bitnet-25, or bitnet (SwiGLU in place of relu2: what a
           program has that is older than the model; the products are the same)
  --layers fewer than 30 for a quick look

The tokenizer has a name for each of the 128,256 tokens and no merges: a benchmark feeds
ids.  Only the standard library is used.
"""
import argparse
import os
import random
import struct

HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB, CONTEXT = 2560, 6912, 20, 5, 128, 128256, 4096
ALIGN = 32

# name: (number in GGUF, weights in a block, bytes of a block)
TYPES = {
    "f32": (0, 1, 4), "f16": (1, 1, 2), "q8_0": (8, 32, 34), "q6_k": (14, 256, 210),
    "tq1_0": (34, 256, 54), "tq2_0": (35, 256, 66), "i2_s": (36, 4, 1), "iq2_bn": (135, 64, 16),
}
FTYPES = {"tq1_0": 36, "tq2_0": 37, "i2_s": 40, "iq2_bn": 129}

# Any byte to one whose four pairs of bits are 0, 1 or 2.
CODES = bytes((b % 3) | (b // 3 % 3) << 2 | (b // 9 % 3) << 4 | (b // 27 % 3) << 6 for b in range(256))
# Any byte to one that has five ternary digits: the upper part of 3^5 in 256ths.
DIGITS = bytes((b % 243 * 256 + 242) // 243 for b in range(256))
# Any byte to a small signed one.
SMALL = bytes((b % 31 - 15) & 255 for b in range(256))


def row_bytes(kind, n):
    _, block, size = TYPES[kind]
    return n // block * size + (4 if kind == "iq2_bn" else 0)


def rows(rng, kind, n_in, n_out):
    """Yield the bytes of a matrix, a run of rows at a time."""
    half = struct.pack("<e", 1.2 / n_in ** 0.5)
    single = struct.pack("<f", 1.2 / n_in ** 0.5)
    for at in range(0, n_out, 64):
        n = min(64, n_out - at)
        blocks = n * n_in // TYPES[kind][1]
        if kind == "i2_s":
            yield rng.randbytes(blocks).translate(CODES)
        elif kind == "iq2_bn":
            each = n_in // 4
            data = rng.randbytes(n * each).translate(CODES)
            yield b"".join(single + data[i * each:(i + 1) * each] for i in range(n))
        elif kind == "tq2_0":
            data = rng.randbytes(blocks * 64).translate(CODES)
            yield b"".join(data[i * 64:i * 64 + 64] + half for i in range(blocks))
        elif kind == "tq1_0":
            data = rng.randbytes(blocks * 52).translate(DIGITS)
            yield b"".join(data[i * 52:i * 52 + 52] + half for i in range(blocks))
        elif kind == "q8_0":
            data, d = rng.randbytes(blocks * 32), struct.pack("<e", 0.0003)
            yield b"".join(d + data[i * 32:i * 32 + 32] for i in range(blocks))
        elif kind == "q6_k":
            data, d = rng.randbytes(blocks * 208), struct.pack("<e", 0.0002)
            scales = data.translate(SMALL)
            yield b"".join(data[i * 208:i * 208 + 192] + scales[i * 208 + 192:i * 208 + 208] + d
                           for i in range(blocks))
        else:  # f16: exponents of 2^-6 to 2^-5
            data = bytearray(rng.randbytes(blocks * 2))
            data[1::2] = bytes(b & 0x83 | 0x24 for b in data[1::2])
            yield bytes(data)
    if kind == "i2_s":  # one factor for all, and room up to 32 bytes
        yield single + bytes(28)


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def pair(key, kind, value):
    number = {"u32": 4, "f32": 6, "bool": 7, "str": 8}[kind]
    body = string(value) if kind == "str" else struct.pack({"u32": "<I", "f32": "<f", "bool": "<?"}[kind], value)
    return string(key) + struct.pack("<I", number) + body


def array(key, number, items):
    return string(key) + struct.pack("<IIQ", 9, number, len(items)) + b"".join(items)


def tokens():
    """The 256 bytes as GPT-2 writes them, then names."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    names = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(other)}
    return [names[b] for b in range(256)] + ["<|%d|>" % i for i in range(256, VOCAB)]


def pairs(o):
    a = o.arch
    kinds = [struct.pack("<i", 1)] * 256 + [struct.pack("<i", 3)] * (VOCAB - 256)
    return [
        pair("general.architecture", "str", a), pair("general.name", "str", "2B4T shape, random"),
        pair("general.file_type", "u32", FTYPES[o.type]), pair("general.alignment", "u32", ALIGN),
        pair("general.quantization_version", "u32", 2),
        pair(a + ".vocab_size", "u32", VOCAB), pair(a + ".context_length", "u32", CONTEXT),
        pair(a + ".embedding_length", "u32", HIDDEN), pair(a + ".block_count", "u32", o.layers),
        pair(a + ".feed_forward_length", "u32", FFN), pair(a + ".rope.dimension_count", "u32", HEAD_DIM),
        pair(a + ".attention.head_count", "u32", HEADS),
        pair(a + ".attention.head_count_kv", "u32", KV_HEADS),
        pair(a + ".attention.layer_norm_rms_epsilon", "f32", 1e-5),
        pair(a + ".rope.freq_base", "f32", 500000.0),
        pair("tokenizer.ggml.model", "str", "gpt2"), pair("tokenizer.ggml.pre", "str", "llama-bpe"),
        array("tokenizer.ggml.tokens", 8, [string(t) for t in tokens()]),
        array("tokenizer.ggml.token_type", 5, kinds),
        array("tokenizer.ggml.merges", 8, [string("a b")]),
        pair("tokenizer.ggml.bos_token_id", "u32", VOCAB - 256),
        pair("tokenizer.ggml.eos_token_id", "u32", VOCAB - 255),
        pair("tokenizer.ggml.add_bos_token", "bool", False),
    ]


def tensors(o):
    """(name, kind, n_in, n_out); n_out 0: a vector."""
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    yield "token_embd.weight", o.head, HIDDEN, VOCAB
    yield "output_norm.weight", "f32", HIDDEN, 0
    for i in range(o.layers):
        for name, n in (("attn_norm", HIDDEN), ("attn_sub_norm", q), ("ffn_norm", HIDDEN), ("ffn_sub_norm", FFN)):
            yield "blk.%d.%s.weight" % (i, name), "f32", n, 0
        for name, n_in, n_out in (("attn_q", HIDDEN, q), ("attn_k", HIDDEN, kv), ("attn_v", HIDDEN, kv),
                                  ("attn_output", q, HIDDEN), ("ffn_gate", HIDDEN, FFN),
                                  ("ffn_up", HIDDEN, FFN), ("ffn_down", FFN, HIDDEN)):
            yield "blk.%d.%s.weight" % (i, name), o.type, n_in, n_out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--type", choices=FTYPES, default="i2_s")
    p.add_argument("--head", choices=("q6_k", "q8_0", "f16"), default="q6_k")
    p.add_argument("--arch", choices=("bitnet-b1.58", "bitnet-25", "bitnet"), default="bitnet-b1.58")
    p.add_argument("--layers", type=int, default=30)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("out")
    o = p.parse_args()
    rng = random.Random(o.seed)
    infos, at, all_tensors = [], 0, list(tensors(o))
    for name, kind, n_in, n_out in all_tensors:
        dims = (n_in, n_out) if n_out else (n_in,)
        infos.append(string(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, TYPES[kind][0], at))
        at += (row_bytes(kind, n_in) * max(n_out, 1) + (32 if kind == "i2_s" else 0) + ALIGN - 1) // ALIGN * ALIGN
    meta = pairs(o)
    with open(o.out + ".part", "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(meta)) + b"".join(meta + infos))
        f.write(bytes(-f.tell() % ALIGN))
        for _, kind, n_in, n_out in all_tensors:
            if n_out == 0:
                f.write(struct.pack("<f", 1.0) * n_in)
            else:
                for chunk in rows(rng, kind, n_in, n_out):
                    f.write(chunk)
            f.write(bytes(-f.tell() % ALIGN))
    os.rename(o.out + ".part", o.out)


if __name__ == "__main__":
    main()
