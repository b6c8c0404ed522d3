// What inlay pushed, read by Hugging Face's JavaScript client; then a file of its own, committed for inlay to see.
//   HF_ENDPOINT=... HF_TOKEN=... node check_hub.mjs owner/name
// Prints one JSON object: the files with their sha256, the tensors by safetensors headers, the commit it made.
import { createHash } from "node:crypto";
import { commit, downloadFile, listFiles, modelInfo, parseSafetensorsMetadata } from "@huggingface/hub";

const [name] = process.argv.slice(2);
const shared = { repo: { type: "model", name }, hubUrl: process.env.HF_ENDPOINT, accessToken: process.env.HF_TOKEN };

const files = {};
for await (const file of listFiles({ ...shared, recursive: true })) {
  if (file.type !== "file") continue;
  const blob = await downloadFile({ ...shared, path: file.path });
  const data = new Uint8Array(await blob.arrayBuffer());
  files[file.path] = { size: file.size, sha256: createHash("sha256").update(data).digest("hex") };
}
const parsed = await parseSafetensorsMetadata({ ...shared, path: "adapter.safetensors", computeParametersCount: true });
const info = await modelInfo({ name, hubUrl: shared.hubUrl, accessToken: shared.accessToken, additionalFields: ["tags", "sha"] });
const made = await commit({
  ...shared,
  title: "from JavaScript",
  operations: [{ operation: "addOrUpdate", path: "NOTICE.txt", content: new Blob(["hello from JavaScript\n"]) }],
});
console.log(JSON.stringify({ files, header: parsed.header, tags: info.tags, commit: made.commit.oid }));
