// A worker that takes intents, completes them, sends no more, and reads to the end. Prints one JSON
// object. usage: node worker.js ADDRESS COUNT [--protos DIR]...
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { protos: { type: "string", multiple: true } },
});
const [address, count] = positionals;
const { IntentQueueService } = grpc.loadPackageDefinition(
  protoLoader.loadSync("onex/v1/intent.proto", {
    includeDirs: values.protos,
    keepCase: true,
    enums: String,
  }),
).onex.v1;
const client = new IntentQueueService(address, grpc.credentials.createInsecure());
const call = client.TakeIntents({ deadline: Date.now() + 30_000 });

const tokens = [];
const settled = {};
call.on("data", ({ delivery, settled: answer }) => {
  if (answer) settled[answer.status] = (settled[answer.status] ?? 0) + 1;
  if (delivery) tokens.push(delivery.claim_token);
  if (delivery && tokens.length === Number(count)) {
    for (const claim_token of tokens) call.write({ complete: { claim_token } });
    call.end();
  }
});
call.on("error", () => {});
call.on("status", ({ code, details }) => {
  client.close();
  const status = { code: grpc.status[code], message: details };
  console.log(JSON.stringify({ ...status, taken: tokens.length, settled }));
});
call.write({ hello: { worker: "effect/foreign" } });
call.write({ credit: { count: Number(count) } });
