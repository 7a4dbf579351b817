"""`python -m onex_grpc.cli`, for where the `onex` script is not on the path."""

from onex_grpc.cli import main

main()
