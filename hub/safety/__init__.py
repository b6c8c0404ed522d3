"""Reading and writing with care: untrusted folders and JSON, atomic writes, text from strangers."""
