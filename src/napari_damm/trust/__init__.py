"""What a prediction is worth, told from what it is made of.

1. `statistics`: what can be measured in a window without any network.
2. `reference`: their distribution in training, and how far others lie off.
3. `known`: such distributions on a model's card.
4. `section`: the verdict on a section, before anything is predicted (`verdict`: its words);
   `words`: why, in sentences.
5. `cells`: the verdict on each cell of a result, and its shares.
6. `intervals`: how far the truth may lie from an expected map; `score_rules` judge them.
7. `trivial`: what a linear model makes of the same images, to be compared with.

The uncertainty of the model answers another question: whether its two images agree.
"""
