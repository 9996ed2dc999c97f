"""A campaign against the store: runs are killed, files damaged, disks filled; nothing may be lost, doubled or wrong."""
