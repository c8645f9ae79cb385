"""See whether a world model uses what probes find in its latents.

The program to read and to copy from is `keras_iwm/commands/intervene.py`.
After `pip install` it is `keras-iwm intervene`; `--help` tells more.
"""

from keras_iwm.commands.intervene import main

main()
