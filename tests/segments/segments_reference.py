"""The rule again, from the standard's tables and one character at a time; shares nothing with the code under test."""

# TS 23.038 6.2.1: code points by septet 0x00 to 0x7F; 0x1B is the escape and no character.
DEFAULT_ALPHABET = [
    *(0x40, 0xA3, 0x24, 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, 0x0A, 0xD8, 0xF8, 0x0D, 0xC5, 0xE5),
    *(0x394, 0x5F, 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, None, 0xC6, 0xE6, 0xDF, 0xC9),
    *(0x20, 0x21, 0x22, 0x23, 0xA4, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F),
    *range(0x30, 0x40),
    *(0xA1, *range(0x41, 0x5B), 0xC4, 0xD6, 0xD1, 0xDC, 0xA7),
    *(0xBF, *range(0x61, 0x7B), 0xE4, 0xF6, 0xF1, 0xFC, 0xE0),
]
# TS 23.038 6.2.1.1: form feed, circumflex, braces, backslash, square brackets, tilde, bar, euro.
EXTENSION_TABLE = [0x0C, 0x5E, 0x7B, 0x7D, 0x5C, 0x5B, 0x7E, 0x5D, 0x7C, 0x20AC]
assert len(DEFAULT_ALPHABET) == 128
TWO_SEPTETS = set(EXTENSION_TABLE)
GSM = TWO_SEPTETS | {code for code in DEFAULT_ALPHABET if code is not None}


def count(text, single=(160, 70), multi=(153, 67)):
    """(encoding, units, segments) of a text, all None for None."""
    if text is None:
        return None, None, None
    gsm = True
    for character in text:
        if ord(character) not in GSM:
            gsm = False
    costs = []
    for character in text:
        if gsm:
            costs.append(2 if ord(character) in TWO_SEPTETS else 1)
        else:
            costs.append(2 if ord(character) > 0xFFFF else 1)
    encoding = "GSM-7" if gsm else "UCS-2"
    whole = single[0] if gsm else single[1]
    part = multi[0] if gsm else multi[1]
    if sum(costs) <= whole:
        return encoding, sum(costs), 1
    parts = 1
    room = part
    for cost in costs:
        if cost > room:
            parts += 1
            room = part
        room -= cost
    return encoding, sum(costs), parts
