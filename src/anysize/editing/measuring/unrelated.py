"""Prompts and texts that no edit is about, other than those that a write preserves: what locality is measured on."""

PROMPTS = (
    "What is the capital of Norway?",
    "How do I clean a wooden table?",
    "Who wrote Don Quixote?",
    "What is the boiling point of water?",
    "Give me two reasons to learn a language.",
    "Where do penguins live?",
    "What is a haiku?",
    "How many minutes are in a day?",
    "What does a carpenter do?",
    "Name a famous bridge.",
    "Describe a lemon to a child.",
    "Why do leaves change colour in autumn?",
)

TEXTS = (
    "The train left the station at seven in the morning with nobody but the driver on board. By noon it had crossed "
    "the plain and begun to climb, and in the evening the first lights of the mountain villages came into view.",
    "Cells are the smallest parts of a living thing that live by themselves. Each is surrounded by a thin membrane, "
    "which lets water and food in and keeps other substances out, and most of them hold a nucleus.",
    "The company said on Friday that its profit had fallen for the third year in a row. It will close two of its "
    "factories in the spring, and it has asked the unions to talk about shorter hours for the others.",
    "To plant a tree, dig a hole twice as wide as its roots. Loosen the soil at the bottom, set the tree upright, "
    "fill the hole, press the earth down with your foot, and water it well for the first two summers.",
    "An island is a piece of land with water on every side. Some are the tops of mountains that stand on the bottom "
    "of the sea, others were once parts of a continent, and many small ones were built by corals.",
    "He had promised to write every week, and for a month he did. Then the letters became shorter, and rarer, and in "
    "the end there was only a card at New Year with a picture of a ship and no word on it but his name.",
)
