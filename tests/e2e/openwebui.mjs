// What Open WebUI sends, as its backend (routers/openai.py, retrieval, tasks) puts it
// together, and what it reads of the answers.  usage: openwebui.mjs URL
import assert from "node:assert/strict";
import { run } from "./run.mjs";

const url = process.argv[2];
const HELLO = "Hello! How can I help you today?";
const headers = (chat) => ({
	"Content-Type": "application/json",
	Authorization: "Bearer none",
	"X-OpenWebUI-User-Name": "Sam%20Example",
	"X-OpenWebUI-User-Id": "2f7d9c1e-0000-4000-8000-000000000001",
	"X-OpenWebUI-User-Email": "sam@example.org",
	"X-OpenWebUI-User-Role": "user",
	...(chat ? { "X-OpenWebUI-Chat-Id": chat } : {}),
});
const post = (path, body, chat) => fetch(`${url}/v1${path}`,
	{ method: "POST", headers: headers(chat), body: JSON.stringify(body) });
const user = (content) => [{ role: "user", content }];

// As its middleware does: by lines, data: before each, [DONE] at the end.
async function readStream(r) {
	assert.equal(r.status, 200);
	assert.match(r.headers.get("content-type"), /text\/event-stream/);
	const got = { text: "", usage: null, finish: null, done: false };
	for (const line of (await r.text()).split("\n")) {
		if (!line.startsWith("data:"))
			continue;
		const data = line.slice(5).trim();
		if (data === "[DONE]") {
			got.done = true;
			continue;
		}
		const v = JSON.parse(data);
		got.text += v.choices[0]?.delta?.content ?? "";
		got.finish = v.choices[0]?.finish_reason ?? got.finish;
		got.usage = v.usage ?? got.usage;
	}
	return got;
}

await run({
	async "a connection is verified by its models"() {
		const r = await fetch(`${url}/v1/models`, { headers: headers() });
		assert.equal(r.status, 200);
		const v = await r.json();
		assert.equal(v.object, "list");
		assert.equal(v.data[0].id, "halo-demo");
		assert.equal(v.data[0].object, "model");
		assert.ok(v.data[0].owned_by);
	},

	async "a chat streams, with usage"() {
		const got = await readStream(await post("/chat/completions", {
			stream: true, model: "halo-demo", messages: user("say hello"),
			temperature: 0, stream_options: { include_usage: true },
		}));
		assert.equal(got.text, HELLO);
		assert.equal(got.finish, "stop");
		assert.ok(got.done && got.usage.completion_tokens > 5);
	},

	async "every slider that is set is understood"() {
		const got = await readStream(await post("/chat/completions", {
			stream: true, model: "halo-demo", messages: user("count to ten"),
			temperature: 0, top_p: 0.9, top_k: 40, min_p: 0, frequency_penalty: 0,
			presence_penalty: 0, repeat_penalty: 1, repeat_last_n: 64, seed: 5,
			max_tokens: 20, stop: [" 4"], logit_bias: { 5: 0 }, mirostat: 0,
		}));
		assert.equal(got.text, "1, 2, 3,");
	},

	async "a title is made in one piece"() {
		for (const limit of [{ max_tokens: 1000 }, { max_completion_tokens: 1000 }]) {
			const r = await post("/chat/completions", { model: "halo-demo",
				messages: user("say hello"), stream: false, temperature: 0, ...limit });
			assert.equal((await r.json()).choices[0].message.content, HELLO);
		}
	},

	async "a system prompt and parts of text are understood"() {
		const r = await post("/chat/completions", {
			model: "halo-demo", stream: false, temperature: 0, max_tokens: 8,
			messages: [
				{ role: "system", content: "You are kind." },
				{ role: "user", content: [{ type: "text", text: "say hello" }] },
			],
		});
		assert.equal(r.status, 200);
		assert.ok((await r.json()).choices[0].message.content.length > 0);
	},

	async "a chat's id is its session"() {
		const body = (messages) => ({ model: "halo-demo", stream: false, temperature: 0,
			max_tokens: 12, messages });
		const first = [{ role: "user", content: "My name is Sam." }];
		const a = await post("/chat/completions", body(first), "c0ffee00-1111-4222-8333-444444444444");
		const said = (await a.json()).choices[0].message.content;
		const b = await post("/chat/completions", body([...first,
			{ role: "assistant", content: said }, { role: "user", content: "What is my name?" }]),
			"c0ffee00-1111-4222-8333-444444444444");
		assert.equal(b.status, 200);
		assert.ok(Number(b.headers.get("x-1bit-cached-tokens")) > 0);
	},

	async "documents become vectors"() {
		const r = await post("/embeddings", { input: ["a cat", "a dog"], model: "halo-demo" });
		const v = await r.json();
		assert.deepEqual(v.data.map((d) => d.index), [0, 1]);
		assert.ok(Array.isArray(v.data[0].embedding));
	},

	async "an error has a detail to show"() {
		const r = await post("/chat/completions", { model: "gone", stream: true,
			messages: user("x"), stream_options: { include_usage: true } });
		assert.equal(r.status, 404);
		assert.match((await r.json()).error.message, /gone/);
		const tools = await post("/chat/completions", { model: "halo-demo",
			messages: user("x"), stream: true,
			tools: [{ type: "function", function: { name: "f", parameters: {} } }] });
		assert.equal(tools.status, 400);
		assert.equal((await tools.json()).error.param, "tools");
	},
});
