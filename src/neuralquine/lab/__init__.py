"""The lab: a page on this machine where quines are found, looked at, damaged and kept (extra ``lab``).

serve.py     the command's work: bind, open the browser, stop cleanly
app.py       the routes
asked.py     what a request asks for, checked field by field
guard.py     who may ask: this machine, this page, with this start's token
jobs.py      searches that outlive a reload: a queue, a replay, limits
shelf.py     the folders of the quines found since the start
process.py   a process that computes, seen from the server
worker.py    the same, from within: the only part that imports torch
search.py    what takes long: solve, zoo, prove
work.py      task quines: train, read digits
patient.py   what is quick: look, damage, generations
pictures.py  weights as heat maps, codes as points
static/      the page
"""
