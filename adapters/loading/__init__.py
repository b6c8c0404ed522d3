"""Loading pretrained models from Hub ids and folders, safely."""
