"""Faults to be put into the PTX of kernels: a sampler, a dtype, and the change of its text."""

import re

from seedbed_kernels import samplers


def dropped(instruction, number):
    """Return a function that takes the n-th such line out of a text."""

    def change(text):
        found = list(re.finditer(rf"^\s*{re.escape(instruction)}[^\n]*\n", text, re.MULTILINE))
        return text[: found[number].start()] + text[found[number].end() :]

    return change


def exchanged(pattern, replacement, number=0):
    """Return a function that replaces the n-th match in a text."""

    def change(text):
        found = list(re.finditer(pattern, text, re.MULTILINE))[number]
        new = replacement(found) if callable(replacement) else found.expand(replacement)
        return text[: found.start()] + new + text[found.end() :]

    return change


def one_bit(number, bit=0):
    """Return a function that flips a bit of the n-th float constant that an fma adds."""

    def change(text):
        found = list(re.finditer(r"(fma\.rn\.f\d+[^\n]*, 0[fd])([0-9A-F]+);", text))[number]
        flipped = f"{int(found[2], 16) ^ 1 << bit:0{len(found[2])}X}"
        return text[: found.start(2)] + flipped + text[found.end(2) :]

    return change


def in_memory(number, bit):
    """Return a function that flips a bit of the n-th float64 in constant memory."""

    def change(text):
        tables = re.finditer(r"\.const .*\{([^}]*)\}", text)
        places = [
            (table.start(1) + byte.start(), int(byte[0]))
            for table in tables
            for byte in re.finditer(r"\d+", table[1])
        ]
        at, byte = places[8 * number + bit // 8]
        return f"{text[:at]}{byte ^ 1 << bit % 8}{text[at + len(str(byte)) :]}"

    return change


T, N, U = samplers.TruncatedNormal, samplers.Normal, samplers.Uniform
NARROW, TAIL = samplers.NarrowNormal, samplers.TailNormal
STORE = r"st\.global\.(?:[fbu]32) \[(%rd\d+)(?:\+\d+)?\]"
OPPOSITE = {"ge": "lt", "lt": "ge"}
FAULTS = {
    **{f"barrier {i} dropped": (T, "float32", dropped("bar.warp.sync", i)) for i in range(6)},
    **{f"coefficient {i}, bit {b}": (N, "float32", one_bit(i, b))
       for i, b in {1: 12, 4: 8, 7: 2, 8: 0}.items()},
    **{f"constant {i}, bit {b}": (N, "float64", in_memory(i, b))
       for i, b in {0: 0, 5: 8, 9: 0, 13: 12, 18: 0, 28: 18, 36: 36}.items()},
    "store shifted": (U, "float32", exchanged(STORE, r"st.global.b32 [\1+4]")),
    "store far away": (U, "float32", exchanged(STORE, r"st.global.b32 [\1+40000]")),
    "store unaligned": (U, "float32", exchanged(STORE, r"st.global.b32 [\1+2]")),
    "store dropped": (N, "float32", dropped("st.global", 0)),
    "multiplier": (U, "float32", exchanged("-766435501", "-766435502")),
    "key schedule": (U, "float64", exchanged("2654435769", "2654435768")),
    "unfused": (N, "float32", exchanged(
        r"fma\.rn\.f32 (\S+), (\S+), (\S+), (\S+);",
        r"mul.rn.f32 \1, \2, \3; add.rn.f32 \1, \1, \4;", 8)),
    "no least value": (U, "uint16", exchanged(
        r"max\.f32 (\S+), (\S+), \S+;", r"mov.f32 \1, \2;")),
    "no largest value": (U, "uint16", exchanged(
        r"min\.f32 (\S+), (\S+), \S+;", r"mov.f32 \1, \2;")),
    "vote": (T, "float64", exchanged(r"vote\.sync\.ballot\.b32 (%r\d+), (%p\d+)",
                                     r"not.pred \2, \2; vote.sync.ballot.b32 \1, \2")),
    "half a warp": (T, "float32", exchanged(r"bar\.warp\.sync\s+-1", "bar.warp.sync 65535")),
    "bound": (T, "float32", exchanged(r"setp\.lt\.f32", "setp.gt.f32")),
    "rounding": (N, "uint16", exchanged(", 32767;", ", 0;")),
    "narrow slope": (NARROW, "float32", exchanged(
        r"setp\.(ge|lt)(u?)\.f32", lambda found: f"setp.{OPPOSITE[found[1]]}{found[2]}.f32")),
    "tail division": (TAIL, "float64", exchanged(
        r"div\.rn\.f64 (\S+), (\S+), (\S+);", r"div.rn.f64 \1, \3, \2;")),
    "lane": (U, "float32", exchanged(r"%laneid", "%tid.x")),
}  # fmt: skip
