/** How this program is started again: by the binary alone, or by Node with the launcher, which is itself executable. */
export function selfCommand(): string[] {
  const script = process.argv[1];
  // In a compiled binary the script is a path inside it.
  if (script === undefined || script.startsWith('/$bunfs/') || script === process.execPath) return [process.execPath];
  return [process.execPath, script];
}
