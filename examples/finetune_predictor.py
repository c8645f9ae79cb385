"""How good is a pretrained world model, and what is the cheapest way to my task?

The program to read and to copy from is `keras_iwm/commands/finetune_predictor.py`.
After `pip install` it is `keras-iwm finetune-predictor`; `--help` tells more.
"""

from keras_iwm.commands.finetune_predictor import main

main()
