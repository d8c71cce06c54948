"""Which boxes are one object, and what becomes of them. Pure: arrays in, arrays out; knows no file and no threshold."""
