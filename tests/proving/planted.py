"""Of the faults that are planted in a file one at a time: how many are found, and which are not.

Some can not be found, because the changed source computes the same, or are not looked for, because it only refuses more or
less. They are listed with the reason in ``harmless.py``, by what is changed in which line of source.
"""

from proving.harmless import HARMLESS


def row(name, faults, only=None):
    """What became of the faults of a file.

    Args:
        name: of the file.
        faults: each as a description and a function that says whether it is found.
        only: descriptions of those that are asked about; the others are known to be found. All, if it is None.

    Returns:
        How many were planted and found, those that are harmless with the reason, and those that a test should find.
    """
    missed = []
    planted = 0
    for said, found in faults:
        planted += 1
        if (only is None or said in only) and not found():
            missed.append(said)
    return {"file": name, "planted": planted, "found": planted - len(missed)} | judged(name, missed)


def judged(name, missed):
    """Of the faults of a file that were not found, those that are harmless with the reason, and the others."""
    known = HARMLESS.get(name, {})
    return {
        "harmless": [[said, known[said]] for said in missed if said in known],
        "missed": [said for said in missed if said not in known],
    }


def report(files):
    """Print the rows of files, each a name and its faults."""
    rows = []
    for name, faults in files:
        rows.append(found := row(name, faults))
        print("{file}: {planted} planted, {found} found".format(**found), flush=True)
        for said, why in found["harmless"]:
            print(f"  harmless: {said}: {why}", flush=True)
        for said in found["missed"]:
            print(f"  not found: {said}", flush=True)
    print(f"{sum(r['planted'] for r in rows)} planted, {sum(r['found'] for r in rows)} found")
