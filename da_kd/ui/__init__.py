"""The browser app: every button runs what the command line runs, on the same recipes and run folders.

settings.py   what the operator decides            access.py     what a request may name
guard.py      who may ask for what                 server.py     serves pages and files behind the guard
processes.py  work as processes of its own         queries/      what the pages show, read from the disk
standing.py, audited.py   how work stands and what an audit measured, as HTML
look.py       theme, with app.css and app.js       markup.py     pieces of HTML
frame.py      what all pages share                 pages/        one module a page

Only ``look``, ``frame`` and ``pages`` know gradio. Importing this package loads neither gradio nor torch.
"""
