"""What the scripts that plant faults say: of each file how many were found, which were not, and the sum of all."""


def report(files):
    """Print what became of each fault.

    Args:
        files: of each file its name and its faults, each as a description and a function that says whether it is found.
    """
    planted = caught = 0
    for name, faults in files:
        here = [(said, found()) for said, found in faults]
        planted, caught = planted + len(here), caught + sum(yes for _, yes in here)
        print(f"{name}: {len(here)} planted, {sum(yes for _, yes in here)} found", flush=True)
        for said, yes in here:
            if not yes:
                print(f"  not found: {said}", flush=True)
    print(f"{planted} planted, {caught} found")
