"""From a user's own protos to typed nodes, clients and intents: `protoc-gen-onex`.

protoc's request becomes records (`read`, `schema`), which the linter looks through (`check`, each
mistake a `fault`) and from which text is made (`emit`, one module a kind of node, with `writer` and
`names`); `plugin` is these three in a row. Around it, `onex generate` finds the protos (`sources`),
runs protoc (`protoc`), and puts what comes out where it belongs (`delivery`).
"""
