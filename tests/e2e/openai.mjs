// What an OpenAI client sees.  usage: openai.mjs URL
import assert from "node:assert/strict";
import OpenAI from "openai";

const url = process.argv[2];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const ask = (content, more = {}) => ({
	model: "halo-demo",
	temperature: 0,
	messages: [{ role: "user", content }],
	...more,
});
const HELLO = "Hello! How can I help you today?";

const tests = {
	async "the model is listed"() {
		const models = await client.models.list();
		assert.deepEqual(models.data.map((m) => m.id), ["halo-demo"]);
		assert.equal((await client.models.retrieve("halo-demo")).object, "model");
	},

	async "a chat completion has text, usage and a reason"() {
		const r = await client.chat.completions.create(ask("say hello"));
		assert.equal(r.object, "chat.completion");
		assert.match(r.id, /^chatcmpl-/);
		assert.equal(r.choices.length, 1);
		assert.equal(r.choices[0].message.role, "assistant");
		assert.equal(r.choices[0].message.content, HELLO);
		assert.equal(r.choices[0].finish_reason, "stop");
		assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
		assert.ok(r.usage.completion_tokens > 5);
		assert.ok(r._request_id);
	},

	async "a stream is the same text, and usage comes when asked for"() {
		const stream = await client.chat.completions.create(
			ask("say hello", { stream: true, stream_options: { include_usage: true } }));
		const ids = new Set();
		let text = "", finish = null, usage = null, role = null;
		for await (const chunk of stream) {
			ids.add(chunk.id);
			assert.equal(chunk.object, "chat.completion.chunk");
			role ??= chunk.choices[0]?.delta.role;
			text += chunk.choices[0]?.delta.content ?? "";
			finish = chunk.choices[0]?.finish_reason ?? finish;
			usage = chunk.usage ?? usage;
		}
		assert.equal(ids.size, 1);
		assert.equal(role, "assistant");
		assert.equal(text, HELLO);
		assert.equal(finish, "stop");
		assert.ok(usage.completion_tokens > 5);
	},

	async "a conversation is remembered"() {
		const r = await client.chat.completions.create({
			model: "halo-demo", temperature: 0,
			messages: [
				{ role: "user", content: "My name is Sam." },
				{ role: "assistant", content: "Nice to meet you, Sam!" },
				{ role: "user", content: "What is my name?" },
			],
		});
		assert.equal(r.choices[0].message.content, "Your name is Sam.");
	},

	async "max_tokens ends with length"() {
		const r = await client.chat.completions.create(ask("count to ten", { max_tokens: 3 }));
		assert.equal(r.choices[0].finish_reason, "length");
		assert.equal(r.usage.completion_tokens, 3);
	},

	async "a stop string is not part of the text"() {
		const r = await client.chat.completions.create(ask("count to ten", { stop: [" 4"] }));
		assert.equal(r.choices[0].message.content, "1, 2, 3,");
		assert.equal(r.choices[0].finish_reason, "stop");
	},

	async "the same seed gives the same text, streaming or not"() {
		const q = ask("Tell me a short story about a cat.",
			{ temperature: 1, seed: 7, max_tokens: 40 });
		const a = await client.chat.completions.create(q);
		let b = "";
		for await (const chunk of await client.chat.completions.create({ ...q, stream: true }))
			b += chunk.choices[0]?.delta.content ?? "";
		const c = await client.chat.completions.create({ ...q, seed: 8 });
		assert.equal(a.choices[0].message.content, b);
		assert.notEqual(a.choices[0].message.content, c.choices[0].message.content);
	},

	async "logprobs come with their alternatives"() {
		const r = await client.chat.completions.create(
			ask("say hello", { logprobs: true, top_logprobs: 2, max_tokens: 2 }));
		const content = r.choices[0].logprobs.content;
		assert.equal(content.length, 2);
		for (const t of content) {
			assert.ok(t.logprob <= 0);
			assert.equal(t.top_logprobs.length, 2);
			assert.equal(t.top_logprobs[0].token, t.token);	// greedy
		}
	},

	async "a completion continues a text"() {
		const r = await client.completions.create({
			model: "halo-demo", prompt: "The capital of France is", temperature: 0, max_tokens: 20,
		});
		assert.equal(r.object, "text_completion");
		assert.equal(r.choices[0].text, " Buda, and Zulus.");
	},

	async "several answers, whole and streamed, are the same"() {
		const params = { n: 3, seed: 7, temperature: 1, max_tokens: 12 };
		const whole = await client.chat.completions.create(ask("say hello", params));
		const texts = ["", "", ""];
		const stream = await client.chat.completions.create(ask("say hello",
			{ ...params, stream: true, stream_options: { include_usage: true } }));
		let usage;
		for await (const chunk of stream) {
			usage = chunk.usage ?? usage;
			for (const c of chunk.choices)
				texts[c.index] += c.delta.content ?? "";
		}
		assert.deepEqual(whole.choices.map((c) => c.message.content), texts);
		assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
	},

	async "completions of several prompts, and the best of some"() {
		const r = await client.completions.create({
			model: "halo-demo", prompt: ["Once upon", "The cat"], n: 1, best_of: 3, seed: 1,
			max_tokens: 6, logprobs: 2,
		});
		assert.deepEqual(r.choices.map((c) => c.index), [0, 1]);
		assert.equal(r.choices[0].logprobs.tokens.join(""), r.choices[0].text);
		assert.equal(Object.keys(r.choices[1].logprobs.top_logprobs[0]).length, 2);
	},

	async "embeddings are numbers, however they travel"() {
		const input = ["the cat sat on the mat", "a dog runs in the park"];
		const a = await client.embeddings.create({ model: "halo-demo", input });	// base64
		const b = await client.embeddings.create({ model: "halo-demo", input, encoding_format: "float" });
		for (const i of [0, 1]) {
			const v = Array.from(a.data[i].embedding), w = b.data[i].embedding;
			assert.equal(v.length, w.length);
			assert.ok(v.every((x, k) => Math.abs(x - w[k]) < 1e-7));
			assert.ok(Math.abs(v.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
		}
		assert.equal(a.usage.prompt_tokens, b.usage.prompt_tokens);
		await assert.rejects(client.embeddings.create({ model: "halo-demo", input, dimensions: 8 }),
			(e) => e instanceof OpenAI.BadRequestError && e.param === "dimensions");
	},

	async "a session is one of its headers, and so is the request's id"() {
		const options = { headers: { "X-1bit-Session": "openai-1", "X-Request-Id": "mine.1" } };
		const { response: cold } = await client.chat.completions.create(ask("say hello"), options)
			.withResponse();
		assert.equal(cold.headers.get("x-1bit-session-state"), "new");
		assert.equal(cold.headers.get("x-request-id"), "mine.1");
		const { data, response } = await client.chat.completions.create({ ...ask("say hello"),
			messages: [...ask("say hello").messages, { role: "assistant", content: HELLO },
				{ role: "user", content: "count to ten" }], max_tokens: 4 }, options).withResponse();
		assert.equal(response.headers.get("x-1bit-session-state"), "warm");
		assert.equal(data._request_id, "mine.1");
		assert.ok(data.usage.prompt_tokens_details.cached_tokens > 10);
	},

	async "errors are the client's own classes"() {
		await assert.rejects(client.chat.completions.create(ask("x", { model: "gpt-9" })),
			(e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
		await assert.rejects(client.chat.completions.create(ask("x", { temperature: 3 })),
			(e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
		await assert.rejects(client.chat.completions.create(ask("word ".repeat(3000))),
			(e) => e instanceof OpenAI.BadRequestError && e.code === "context_length_exceeded");
		await assert.rejects(client.chat.completions.create(ask("x", { n: 9 })),
			(e) => e instanceof OpenAI.BadRequestError && e.param === "n");
	},

	async "an aborted stream frees its slot"() {
		const stream = await client.chat.completions.create(
			ask("Tell me a short story about a cat.", { stream: true, temperature: 1, seed: 1 }));
		for await (const chunk of stream)
			if (chunk.choices[0]?.delta.content) { stream.controller.abort(); break; }
		for (let i = 0; i < 100; i++) {
			const text = await (await fetch(`${url}/metrics`)).text();
			if (/^onebit_gateway_active_streams 0$/m.test(text)) return;
			await new Promise((done) => setTimeout(done, 100));
		}
		assert.fail("a stream is still active after 10 s");
	},
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
	try {
		await test();
		console.log(`ok   ${name}`);
	} catch (e) {
		failed++;
		console.log(`FAIL ${name}\n${e.stack}`);
	}
}
process.exit(failed === 0 ? 0 : 1);
