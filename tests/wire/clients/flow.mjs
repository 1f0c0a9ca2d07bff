// A whole fine-tune by the official SDK for Node: upload, create, wait, events, checkpoints, chat.
// Usage: node flow.mjs TRAINING_FILE; reads OPENAI_BASE_URL and OPENAI_API_KEY.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const here = createRequire(pathToFileURL(path.join(process.env.SDK_FOLDER, "package.json")));
const OpenAI = here("openai").default;
const client = new OpenAI({ adminAPIKey: process.env.OPENAI_API_KEY });

const say = (name, value) => console.log(JSON.stringify({ [name]: value }));

const uploaded = await client.files.create({ file: fs.createReadStream(process.argv[2]), purpose: "fine-tune" });
say("file", uploaded.filename);
await client.files.waitForProcessing(uploaded.id);

let job = await client.fineTuning.jobs.create({
  model: "gpt-4o-mini",
  training_file: uploaded.id,
  suffix: "node",
  method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 1 } } },
});
const deadline = Date.now() + 60_000;
while (!["succeeded", "failed", "cancelled"].includes(job.status) && Date.now() < deadline) {
  await new Promise((resume) => setTimeout(resume, 200));
  job = await client.fineTuning.jobs.retrieve(job.id);
}
say("status", job.status);
say("model", job.fine_tuned_model);

let events = 0;
for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 3 })) events += event.object === "fine_tuning.job.event";
say("events", events > 3);

const checkpoints = await client.fineTuning.jobs.checkpoints.list(job.id);
say("checkpoints", checkpoints.data.length > 0);

const answer = await client.chat.completions.create({ model: job.fine_tuned_model, messages: [{ role: "user", content: "hello" }], max_tokens: 8 });
say("answer", typeof answer.choices[0].message.content);

let streamed = "";
const stream = await client.chat.completions.create({
  model: job.fine_tuned_model,
  messages: [{ role: "user", content: "hello" }],
  stream: true,
  stream_options: { include_usage: true },
});
let usage = null;
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
say("streamed", typeof streamed === "string" && usage.total_tokens > 0);

const vectors = await client.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] });
say("embeddings", vectors.data.length);

try {
  await client.fineTuning.jobs.retrieve("ftjob-none");
} catch (error) {
  say("error", [error.status, error.code]);
}
say("deleted", (await client.models.delete(job.fine_tuned_model)).deleted);
