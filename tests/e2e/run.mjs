// Run tests, an object of async functions by name; ends the process.
export async function run(tests) {
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
}
