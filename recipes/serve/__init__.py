"""``inlay serve``: an OpenAI-compatible server for the adapters of one backbone, on FastAPI and uvicorn."""
