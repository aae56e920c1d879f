// What the Vercel AI SDK sees.  usage: vercel.mjs URL
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, streamText } from "ai";
import { run } from "./run.mjs";

const url = process.argv[2];
const HELLO = "Hello! How can I help you today?";
const provider = (more = {}) => createOpenAICompatible({
	name: "onebit", baseURL: `${url}/v1`, apiKey: "none", includeUsage: true, ...more,
});
const model = provider()("halo-demo");
const ask = (prompt, more = {}) => ({ model, prompt, temperature: 0, maxRetries: 0, ...more });

await run({
	async "a text has its usage and reason"() {
		const r = await generateText(ask("say hello"));
		assert.equal(r.text, HELLO);
		assert.equal(r.finishReason, "stop");
		assert.ok(r.usage.inputTokens > 0 && r.usage.outputTokens > 5);
		assert.match(r.response.id, /^chatcmpl-/);
		assert.equal(r.response.modelId, "halo-demo");
	},

	async "a stream is the same text"() {
		const r = streamText(ask("say hello"));
		const parts = [];
		for await (const part of r.textStream)
			parts.push(part);
		assert.ok(parts.length > 3);
		assert.equal(parts.join(""), HELLO);
		assert.equal(await r.finishReason, "stop");
		assert.ok((await r.usage).outputTokens > 5);
	},

	async "a conversation with a system prompt is one"() {
		const r = await generateText({
			model, temperature: 0, maxRetries: 0,
			messages: [
				{ role: "user", content: "My name is Sam." },
				{ role: "assistant", content: "Nice to meet you, Sam!" },
				{ role: "user", content: [{ type: "text", text: "What is my name?" }] },
			],
		});
		assert.equal(r.text, "Your name is Sam.");
	},

	async "limits, stops and seeds are kept"() {
		const cut = await generateText(ask("count to ten", { maxOutputTokens: 3 }));
		assert.equal(cut.finishReason, "length");
		assert.equal(cut.usage.outputTokens, 3);
		const stopped = await generateText(ask("count to ten", { stopSequences: [" 4"] }));
		assert.equal(stopped.text, "1, 2, 3,");
		const story = ask("Tell me a short story about a cat.",
			{ temperature: 1, seed: 7, topP: 0.9, maxOutputTokens: 30 });
		const a = await generateText(story);
		assert.equal(await streamText(story).text, a.text);
	},

	async "errors say what they are"() {
		await assert.rejects(generateText(ask("x", { model: provider()("gpt-9") })), (e) =>
			APICallError.isInstance(e) && e.statusCode === 404 && !e.isRetryable &&
			/gpt-9/.test(e.message));
		await assert.rejects(generateText(ask("x", { temperature: 3 })), (e) =>
			APICallError.isInstance(e) && e.statusCode === 400 &&
			JSON.parse(e.responseBody).error.param === "temperature");
		const bad = [];
		const r = streamText(ask("x", { temperature: 3, onError: ({ error }) => bad.push(error) }));
		for await (const part of r.textStream)
			assert.fail(`there is no text, but "${part}"`);
		assert.equal(bad[0].statusCode, 400);
	},

	async "what is not offered is refused by name"() {
		await assert.rejects(generateText(ask("x", { model: provider()("halo-demo"),
			providerOptions: { onebit: { response_format: { type: "json_object" } } } })),
			(e) => APICallError.isInstance(e) && e.statusCode === 400);
	},

	async "vectors come"() {
		const r = await embedMany({ model: provider().textEmbeddingModel("halo-demo"),
			values: ["the cat sat on the mat", "a dog runs in the park"], maxRetries: 0 });
		assert.equal(r.embeddings.length, 2);
		assert.equal(r.embeddings[0].length, r.embeddings[1].length);
		assert.ok(r.usage.tokens > 5);
	},

	async "a session is one of its headers"() {
		const headers = { "X-1bit-Session": "vercel-1" };
		await generateText(ask("say hello", { headers }));
		const r = await generateText(ask("say hello", { headers }));
		assert.equal(r.response.headers["x-1bit-session"], "vercel-1");
		assert.ok(r.usage.cachedInputTokens > 0);
	},

	async "an aborted stream ends"() {
		const abort = new AbortController();
		const r = streamText(ask("Tell me a short story about a cat.",
			{ temperature: 1, seed: 1, abortSignal: abort.signal, onError() {} }));
		try {
			for await (const part of r.textStream)
				abort.abort();
		} catch (e) {
			assert.equal(e.name, "AbortError");
		}
	},
});
