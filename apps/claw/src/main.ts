/** The claw command: which verbs there are, and what is true of all of them. */

import { ClawError } from '@claw/base';
import { Command, CommanderError, Option } from 'commander';
import { Context, type GlobalOptions } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { Output } from './output.ts';
import type { AddVerb } from './verb.ts';
import { registerLifecycle } from './verbs/lifecycle.ts';
import { registerPairing } from './verbs/pairing.ts';
import { registerRelay } from './verbs/relay.ts';
import { registerSend } from './verbs/send.ts';
import { registerShares } from './verbs/shares.ts';
import { registerStatus } from './verbs/status.ts';
import { registerUse } from './verbs/use.ts';

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted); // asked twice: at once
    interrupt.abort(new ClawError('INTERRUPTED', 'interrupted'));
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok); // the reader has seen enough
  throw error;
});

const program = new Command('claw')
  .description('Joins your machines into one private network and lends services between them.')
  .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
  .showSuggestionAfterError()
  .configureOutput({ writeErr: () => {} })
  .exitOverride();

const addVerb: AddVerb = (command, action) => {
  command
    .addOption(new Option('--home <dir>', 'the node’s home (default: $OPENCLAW_HOME or ~/.openclaw)'))
    .addOption(new Option('--json', 'print one JSON document'))
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action(async (...args: unknown[]) => {
      const context = new Context(command.opts<GlobalOptions>(), interrupt.signal);
      try {
        await action(context, ...(args.slice(0, -1) as never));
      } catch (error) {
        if (!interrupt.signal.aborted) context.out.fail(error);
        else if (context.out.json) context.out.fail(interrupt.signal.reason);
        else process.exitCode = EXIT.interrupted;
      }
    });
  program.addCommand(command);
};

registerLifecycle(addVerb);
registerPairing(addVerb);
registerShares(addVerb);
registerUse(addVerb);
registerSend(addVerb);
registerStatus(addVerb);
registerRelay(addVerb);

if (process.argv[2] === '--version' || process.argv[2] === '-V') process.argv[2] = 'version';
try {
  if (process.argv.length <= 2) program.outputHelp();
  else await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error.exitCode !== 0) reportUsage(error);
}

function reportUsage(error: CommanderError): void {
  const message = error.message.replace(/^error: /, '');
  const verb = process.argv[2];
  const known = program.commands.some((command) => command.name() === verb);
  const usage = new ClawError('USAGE', message, { hint: `See "claw ${known ? `${verb} ` : ''}--help".` });
  new Output(process.argv.includes('--json')).fail(usage);
}
