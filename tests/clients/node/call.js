// Calls one rpc of any form, knowing nothing but its .proto. Prints one JSON object.
// usage: node call.js ADDRESS FILE SERVICE METHOD REQUESTS [--protos DIR]...
//   REQUESTS is a JSON array; an rpc that takes one request gets the first.
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { protos: { type: "string", multiple: true } },
});
const [address, file, service, method, text] = positionals;
const requests = JSON.parse(text);

const definition = protoLoader.loadSync(file, {
  includeDirs: values.protos,
  keepCase: true,
  enums: String,
  longs: Number,
});
const Client = service
  .split(".")
  .reduce((found, part) => found[part], grpc.loadPackageDefinition(definition));
const client = new Client(address, grpc.credentials.createInsecure());
const rpc = definition[service][method];
const options = { deadline: Date.now() + 10_000 };

const responses = [];
const finish = (code, message) => {
  client.close();
  console.log(JSON.stringify({ code: grpc.status[code], message, responses }));
};
const answered = (error, response) => {
  if (response) responses.push(response);
  finish(error ? error.code : 0, error?.details);
};
const streamed = (call) => {
  call.on("data", (response) => responses.push(response));
  call.on("error", (error) => finish(error.code, error.details));
  call.on("end", () => {});
  call.on("status", (status) => status.code === 0 && finish(0));
  return call;
};
const feed = (call) => {
  requests.forEach((request) => call.write(request));
  call.end();
};

if (!rpc.requestStream && !rpc.responseStream) client[method](requests[0], options, answered);
else if (!rpc.requestStream) streamed(client[method](requests[0], options));
else if (!rpc.responseStream) feed(client[method](options, answered));
else feed(streamed(client[method](options)));
