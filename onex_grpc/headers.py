"""Names of the mesh's headers, their parsing and their writing. DESIGN: ASCII, together below 1 KiB."""
