"""From a user's own protos to typed nodes, clients and intents: `protoc-gen-onex`."""
