/** The look of the page: one style sheet, light and dark, printable. */

/** Ours first; the others keep apart from each other on both backgrounds. */
export const PALETTE = [
  '#5b4bff',
  '#e4572e',
  '#17a398',
  '#d1a000',
  '#c2387f',
  '#3a86c8',
  '#7a9e1f',
  '#8d6e63',
  '#9a5fd0',
  '#00a2d6',
  '#6b7785',
  '#b0413e',
];

export const STYLE = `
:root { color-scheme: light dark; --bg: #f7f7f9; --card: #fff; --ink: #16181d; --dim: #666e7a; --rule: #e3e5ea;
  --direct: #2fa56d; --proxied: #4d8fd6; --relayed: #e6a93a; --failed: #d8c3c6; --failed-ink: #8a6f74; --skipped: #eceef1; --bad: #d0483e; }
@media (prefers-color-scheme: dark) { :root { --bg: #101217; --card: #181b22; --ink: #eceef2; --dim: #98a0ad; --rule: #2a2e38;
  --direct: #2c9a66; --proxied: #3f7fc4; --relayed: #c98f26; --failed: #3a3136; --failed-ink: #a58a90; --skipped: #22262e; --bad: #c2453c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 48px 24px 96px; }
h1 { font-size: 38px; letter-spacing: -0.02em; margin: 0 0 8px; line-height: 1.1; }
h2 { font-size: 24px; letter-spacing: -0.01em; margin: 64px 0 4px; }
h3 { font-size: 16px; margin: 0; white-space: nowrap; }
p { max-width: 74ch; margin: 6px 0 16px; color: var(--dim); }
.facts { color: var(--dim); font-size: 13px; }
.cards { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(370px, 1fr)); }
.charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(560px, 1fr)); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 16px; }
.card header { display: flex; align-items: baseline; justify-content: space-between; gap: 12px; margin-bottom: 8px; }
.card header span { color: var(--dim); font-size: 12.5px; white-space: nowrap; }
.ours { border-color: #5b4bff; box-shadow: 0 0 0 1px #5b4bff; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font-size: 11px; }
svg .chart-title { fill: var(--ink); font-size: 12px; font-weight: 600; }
svg .cell { fill: #fff; font-size: 10.5px; font-weight: 600; text-anchor: middle; pointer-events: none; }
.v-direct { fill: var(--direct); } .v-proxied { fill: var(--proxied); } .v-relayed { fill: var(--relayed); }
.v-failed { fill: var(--failed); } .v-skipped, .v-none { fill: none; stroke: var(--rule); stroke-dasharray: 3 3; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 8px 0 20px; font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend .direct { background: var(--direct); } .legend .proxied { background: var(--proxied); } .legend .relayed { background: var(--relayed); }
.legend .failed { background: var(--failed); } .legend .skipped { outline: 1px dashed var(--dim); outline-offset: -1px; }
.rule { stroke: var(--rule); stroke-width: 1; } .mark { stroke: var(--failed-ink); stroke-width: 1.5; stroke-dasharray: 3 3; }
.line path { fill: none; stroke-width: 1.6; stroke-linejoin: round; } .line.c0 path { stroke-width: 2.4; }
${PALETTE.map((colour, index) => `.line.c${index} path { stroke: ${colour}; } .dot.c${index} { background: ${colour}; }`).join('\n')}
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--dim); font-weight: 500; vertical-align: bottom; }
td.text { text-align: left; white-space: normal; color: var(--dim); min-width: 220px; }
td small { color: var(--dim); display: block; font-size: 11.5px; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; }
.bar { display: flex; height: 10px; width: 150px; border-radius: 5px; overflow: hidden; background: var(--skipped); margin-left: auto; }
.bar b { display: block; height: 100%; } .bar .direct { background: var(--direct); } .bar .proxied { background: var(--proxied); }
.bar .relayed { background: var(--relayed); } .bar .failed { background: var(--failed); }
td.heat { border-radius: 4px; } td.no { color: var(--failed-ink); }
.scroll { overflow-x: auto; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
`;
