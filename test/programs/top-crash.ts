/** Takes the terminal as `tq top` does and then fails where nobody catches it, with a handler like that of the program. */
import { leaveAtEnd, openScreen, realTerminal } from '../../src/top/screen.ts';

process.on('uncaughtException', (error) => {
  console.error(`said: ${error.message}`);
  process.exit(125);
});
const screen = openScreen(realTerminal(process.stdin, process.stdout));
screen.enter();
leaveAtEnd(screen);
screen.draw(['a frame']);
setTimeout(() => {
  throw new Error('a bug');
}, 50);
