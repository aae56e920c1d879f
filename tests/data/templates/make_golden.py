#!/usr/bin/env python3
"""Render chats with the template texts beside this file as transformers does.

usage: make_golden.py [CHATS [SEED]] > golden.json

The environment is the one of transformers' utils/chat_template_utils.py
(jinja2, sandboxed, trim_blocks, lstrip_blocks).  Written once with jinja2 3.1.6;
nothing in the build or the tests runs it.
"""
import json
import os
import random
import sys

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))
EOS = {"zephyr": "</s>", "falcon3": "<|endoftext|>"}
ROLES = ["system", "user", "assistant"]
PIECES = ["Hello", "  two blanks", "trailing  ", "\n", "\n\n", "é", "\u00a0", "\u3000x",
          "<think>\nhm\n</think>\n\nAnswer", "<think>", "</think>", "\t", "'quotes\"",
          "{{ x }}", "<tool_response>", "</tool_response>", "\x1f", "Ünï", "0", ""]


def chats(n, seed):
    rng = random.Random(seed)
    yield [("user", "Hello")]
    yield [("system", "Be brief."), ("user", " Hi \n")]
    yield [("user", "a"), ("assistant", "b"), ("user", "c")]
    yield [("system", "s"), ("user", "a"), ("assistant", "<think>\nt\n</think>\n\nb")]
    yield [("user", "a"), ("assistant", "\n<think>old</think>\nb"), ("user", "c"),
           ("assistant", "x</think>y</think>\n\nz")]
    yield [("assistant", "first"), ("system", "late"), ("user", "a")]
    yield [("user", "a"), ("assistant", "b"), ("assistant", "\n\nc"), ("assistant", "\nd")]
    yield [("user", "a"), ("user", "<tool_response>\nr\n</tool_response>"), ("assistant", "b")]
    yield [("user", "<tool_response>1</tool_response>"), ("assistant", "\nb"), ("system", "s")]
    for _ in range(n):
        yield [(rng.choice(ROLES), "".join(rng.choice(PIECES)
                                           for _ in range(rng.randint(0, 4))))
               for _ in range(rng.randint(1, 6))]


def main():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[loopcontrols])
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    all_chats = list(chats(n, seed))
    out = []
    for name in sorted(os.listdir(HERE)):
        if not name.endswith(".jinja"):
            continue
        with open(os.path.join(HERE, name), encoding="utf-8") as f:
            template = env.from_string(f.read())
        family = name[:-6].split("-")[0]
        modes = [{}]
        if family == "qwen3":
            modes.append({"enable_thinking": False})
        for mode in modes:
            texts = []
            for chat in all_chats:
                messages = [{"role": r, "content": c} for r, c in chat]
                texts.append([template.render(
                    messages=messages, bos_token="<|begin_of_text|>", tools=None,
                    documents=None, eos_token=EOS.get(family, "<|eos|>"),
                    add_generation_prompt=generation, **mode)
                    for generation in (False, True)])
            out.append({"file": name, "name": family + ("-nothink" if mode else ""),
                        "texts": texts})
    json.dump({"chats": all_chats, "templates": out}, sys.stdout, ensure_ascii=True,
              indent=None, separators=(",", ":"))
    print()


main()
