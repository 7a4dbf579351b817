// Calls a mesh as an outsider would: from the .proto files, with grpc-js. Prints one JSON object.
// usage: node client.js COMMAND ADDRESS [--protos DIR]... [--ca FILE] [--cert FILE --key FILE]
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import health from "grpc-health-check";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    protos: { type: "string", multiple: true },
    ca: { type: "string" },
    cert: { type: "string" },
    key: { type: "string" },
  },
});
const [command, address] = positionals;

const load = (file) =>
  grpc.loadPackageDefinition(
    protoLoader.loadSync(file, { includeDirs: values.protos, keepCase: true, enums: String }),
  );

const read = (file) => (file ? readFileSync(file) : null);
const credentials = values.ca
  ? grpc.credentials.createSsl(read(values.ca), read(values.key), read(values.cert))
  : grpc.credentials.createInsecure();

// protobufjs brings google.protobuf.Value along, in camel case.
const number = (value) => ({ numberValue: value });

const contract = (algorithm, data, parameters = {}) => ({
  correlation_id: "6f1c9a52-3f1e-4c58-9d3e-0a4f5b1c2d3e",
  algorithm_config: { algorithm_type: algorithm, parameters: { fields: parameters } },
  input_data: { value: data },
});

const compute = (request, seconds) => {
  const { ComputeNodeService } = load("onex/v1/compute.proto").onex.v1;
  return call(new ComputeNodeService(address, credentials), "ExecuteCompute", request, seconds);
};

const commands = {
  health: () => {
    const Health = grpc.makeClientConstructor(health.service, "Health");
    return call(new Health(address, credentials), "Check", { service: "" }, 5);
  },
  sum: () => compute(contract("sum", { listValue: { values: [1, 2, 3, 4, 5].map(number) } }), 5),
  unknown: () => compute(contract("no-such-algorithm", number(1)), 5),
  slow: () => compute(contract("demo.wait", number(0), { seconds: number(2) }), 0.2),
};

function call(client, method, request, seconds) {
  return new Promise((resolve) => {
    const deadline = new Date(Date.now() + seconds * 1000);
    client[method](request, { deadline }, (error, response) => {
      client.close();
      resolve(error ? failure(error) : { code: "OK", response });
    });
  });
}

function failure(error) {
  return {
    code: grpc.status[error.code],
    message: error.details,
    reason: reasonOf(error.metadata.get("grpc-status-details-bin")[0]),
  };
}

// google.rpc.Status{code, message, repeated Any details}; ErrorInfo.reason is its field 1.
function reasonOf(bytes) {
  for (const any of fields(bytes ?? Buffer.alloc(0), 3)) {
    if (fields(any, 1)[0].toString().endsWith("google.rpc.ErrorInfo")) {
      return fields(fields(any, 2)[0], 1)[0].toString();
    }
  }
  return null;
}

// The length-delimited fields with this number.
function fields(bytes, wanted) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    if ((tag & 7) === 2) {
      const length = varint();
      if (tag >> 3 === wanted) found.push(bytes.subarray(at, at + length));
      at += length;
    } else {
      varint();
    }
  }
  return found;
}

console.log(JSON.stringify(await commands[command]()));
