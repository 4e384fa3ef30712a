"""
A small clinic that never was: invented Russian diagnoses with codes, in the format of RuCCoD, for tests and the recipe.

Every text is put together here from invented phrases; none is taken from any record. `write` makes a folder with
``train`` and ``test`` in brat stand-off files, whose training offsets count a newline as two characters as RuCCoD's do,
and beside them a dictionary of codes and abbreviations.
"""

from __future__ import annotations

import random
from pathlib import Path

CODES = {
    "E10-E14": "Сахарный диабет",
    "E11": "Сахарный диабет второго типа",
    "E11.9": "Сахарный диабет второго типа без осложнений",
    "E66": "Ожирение",
    "E66.9": "Ожирение неуточненное",
    "I10": "Эссенциальная гипертензия",
    "I20-I25": "Ишемическая болезнь сердца",
    "I25": "Хроническая ишемическая болезнь сердца",
    "I25.9": "Хроническая ишемическая болезнь сердца неуточненная",
    "J00-J06": "Острые респираторные инфекции верхних дыхательных путей",
    "J06": "Острые инфекции верхних дыхательных путей",
    "J06.9": "Острая инфекция верхних дыхательных путей неуточненная",
    "J45": "Астма",
    "J45.0": "Астма с преобладанием аллергического компонента",
    "K29": "Гастрит и дуоденит",
    "K29.5": "Хронический гастрит неуточненный",
    "K81": "Холецистит",
    "K81.0": "Острый холецистит",
    "K81.1": "Хронический холецистит",
    "M42": "Остеохондроз позвоночника",
    "M42.1": "Остеохондроз позвоночника у взрослых",
    "M54": "Дорсалгия",
    "M54.5": "Боль внизу спины",
    "N20": "Камни почки и мочеточника",
    "N20.0": "Камни почки",
}
ABBREVIATIONS = {
    "ИБС": "ишемическая болезнь сердца",
    "ОРВИ": "острая респираторная вирусная инфекция",
    "СД": "сахарный диабет",
}
MENTIONS = {
    "E11.9": ("СД 2 типа", "сахарный диабет 2 типа", "диабет второго типа"),
    "E66": ("ожирение 1 степени", "Ожирение", "избыточный вес, ожирение"),
    "I10": ("гипертензия", "артериальная гипертензия", "гипертоническая болезнь"),
    "I25.9": ("ИБС", "ишемическая болезнь", "хр. ишемическая болезнь сердца"),
    "J06.9": ("ОРВИ", "острая респираторная инфекция", "ОРЗ"),
    "J45.0": ("бронхиальная астма", "аллергическая астма", "астма"),
    "K29.5": ("хр. гастрит", "хронический гастрит", "гастрит"),
    "K81.0": ("острый холецистит", "о. холецистит"),
    "K81.1": ("хр. холецистит", "хронический холецистит", "холецистит"),
    "M42.1": ("остеохондроз", "шейный остеохондроз", "остеохондроз поясничного отдела"),
    "M54.5": ("люмбалгия", "боль в пояснице"),
    "N20.0": ("камень почки", "мочекаменная болезнь", "нефролитиаз"),
}
_REST = ("обострение", "ремиссия", "осмотр", "наблюдение у терапевта", "жалоб нет", "контроль через месяц")


def documents(count: int, seed: int) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """Texts, each with its (start, end, code); a newline counts one."""
    draw, made = random.Random(seed), []
    for _ in range(count):
        text, spans = "", []
        for code in draw.sample(sorted(MENTIONS), draw.randint(1, 3)):
            text += draw.choice(("", " ", "\n")) if text else ""
            mention = draw.choice(MENTIONS[code])
            spans.append((len(text), len(text) + len(mention), code))
            text += mention
            if draw.random() < 0.5:
                text += f", {draw.choice(_REST)}"
            text += draw.choice((". ", "; ", "."))
        made.append((text.rstrip(" "), spans))
    return made


def write(folder: Path, train: int = 120, test: int = 40) -> Path:
    """A folder with two splits, a dictionary and abbreviations."""
    for split, count, seed in (("train", train, 0), ("test", test, 1)):
        home = folder / f"clinic_{split}"
        home.mkdir(parents=True, exist_ok=True)
        for number, (text, spans) in enumerate(documents(count, seed)):
            lines = []
            for place, (start, end, code) in enumerate(spans, start=1):
                moved = [at + text[:at].count("\n") * (split == "train") for at in (start, end)]
                lines.append(f"T{place}\ticd_code {moved[0]} {moved[1]}\t{text[start:end]}\n")
                lines.append(f"N{place}\tReference T{place} ICD_codes:{place}\t{code}\n")
            (home / f"{number}.txt").write_text(text, "utf-8", newline="\n")
            (home / f"{number}.ann").write_text("".join(lines), "utf-8", newline="\n")
    for name, held in (("codes.yaml", CODES), ("abbreviations.yaml", ABBREVIATIONS)):
        lines = [f'"{key}": "{value}"\n' for key, value in held.items()]
        (folder / name).write_text("".join(lines), "utf-8")
    return folder
