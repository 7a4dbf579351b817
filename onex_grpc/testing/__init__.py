"""What users' own tests need: `mesh` runs nodes in one process, `process` as processes of their
own, `pure` tries the methods of reducers without either.
"""
