"""How the landmark stage errs: measured on rendered footage, kept in a small file, drawn again for training."""
