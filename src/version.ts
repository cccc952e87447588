/** The version of this program, as in package.json. */
import manifest from '../package.json' with { type: 'json' };

export const version: string = manifest.version;
