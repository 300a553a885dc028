/** Inputs per property in a fuzz test: `CLAW_FUZZ_RUNS`, or 2,000. Names of such tests contain "fuzz". */
export const fuzzRuns = Number(process.env.CLAW_FUZZ_RUNS ?? 2000);
