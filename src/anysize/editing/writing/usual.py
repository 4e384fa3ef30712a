"""What an edit shall leave as it is, unless the user names other texts: questions of every kind and plain prose."""

QUESTIONS = (
    "What is the capital of Portugal?",
    "How do I boil an egg?",
    "Write a short poem about the sea.",
    "Who painted the Mona Lisa?",
    "Explain photosynthesis in one sentence.",
    "What is 17 times 6?",
    "Give me three tips for sleeping better.",
    "Translate 'good morning' into Spanish.",
    "What does a mayor do?",
    "Why is the sky blue?",
    "Summarise the story of Romeo and Juliet.",
    "Write a Python function that adds two numbers.",
    "Which planet is the largest?",
    "What should I cook with rice and tomatoes?",
    "When did the Second World War end?",
    "How far is the moon?",
    "Name two rivers in Africa.",
    "What is the difference between a virus and a bacterium?",
    "Describe a rainy day in a small town.",
    "Who was Marie Curie?",
    "How do I write a polite refusal?",
    "What is a mortgage?",
    "List four kinds of trees.",
    "Is a tomato a fruit?",
)

PASSAGES = (
    "The river rises in the hills north of the town and runs slowly through meadows before it reaches the lake. In "
    "spring it often leaves its bed, and the farmers who live beside it have learnt to keep their cattle on higher "
    "ground until the middle of May.",
    "Bread is made of flour, water, salt and yeast. The dough is kneaded until it is smooth, left to rise for an hour "
    "or two, shaped, and baked in a hot oven. A pan of water on the oven floor gives the crust its shine.",
    "The committee met on Tuesday to discuss the budget for the coming year. Several members asked for more money for "
    "schools and roads, while others warned that taxes could not be raised again. A vote is expected in two weeks.",
    "A triangle has three sides and three angles, and the sum of its angles is always one hundred and eighty degrees. "
    "If two of its sides have the same length, then the angles opposite to them are equal too.",
    "She closed the door behind her and stood for a moment in the dark hall. Somewhere above a clock was ticking. "
    "Nobody had lived in the house for years, and yet there was a smell of coffee, faint but certain.",
    "Most birds that breed in the north spend the winter in warmer countries. They find their way by the sun, by the "
    "stars and by the magnetic field of the earth, and many return to the same nest year after year.",
    "The engine turns chemical energy into motion. Fuel and air are mixed, compressed and lit; the hot gas pushes a "
    "piston, and a shaft turns the push into rotation, which the gears pass on to the wheels.",
    "The team lost the first two games of the season, but it has won every match since then. The coach praised the "
    "defence, above all the young goalkeeper, who let in only three goals in nine games.",
    "In law a contract is an agreement that both sides must keep. It need not be written down, although it is easier "
    "to prove if it is. If one side breaks it, the other may ask a court for damages.",
    "The heart pumps blood through the lungs, where it takes up oxygen, and then through the rest of the body. A "
    "grown person at rest has a pulse of about seventy beats a minute; in sleep it falls, and when running it doubles.",
    "Glass is made by melting sand with soda and lime. It is soft when it is hot and can be blown, pressed or drawn "
    "into thin threads. Small amounts of metal give it colour: cobalt makes it blue, and iron green.",
    "The museum opens at ten and closes at six. On Mondays it is shut. Tickets can be bought at the door or in "
    "advance; children under twelve go in free, and there are tours in English every afternoon at three.",
)
