/**
 * The settings of a job compiler: what a workflow program declares, and what `--set k=v` gives it. Pure; every message names the
 * setting and the text.
 */
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';
import { nearest } from '../task/nearest.ts';
import { parseFrames, type Frames } from './frames.ts';

export const TYPES = ['string', 'int', 'number', 'bool', 'range'] as const;
export type SettingType = (typeof TYPES)[number];

export type SettingValue = string | number | boolean | Frames;

interface Setting {
  type: SettingType;
  /** As it was declared; undefined: it must be given. */
  default: unknown;
  description: string | undefined;
}

/** Throws a usage error for declarations, given words or values that do not fit. `file` is for messages. */
export function readSettings(declared: unknown, given: readonly string[], file: string): Record<string, SettingValue> {
  const settings = readDeclared(declared, file);
  const words = readGiven(given);
  for (const [name, value] of words) {
    if (settings.has(name)) continue;
    const near = nearest(name, settings.keys());
    const known = settings.size === 0 ? 'it has none' : `it has ${[...settings.keys()].join(', ')}`;
    throw usage(
      `--set: ${file} has no setting ${quoted(name)}: ${quoted(`${name}=${value}`)}`,
      near === undefined ? known : `did you mean ${near}?`,
    );
  }
  const values: Record<string, SettingValue> = {};
  for (const [name, setting] of settings) {
    const text = words.get(name);
    if (text !== undefined) values[name] = parseValue(setting.type, text, `--set ${name}`);
    else if (setting.default !== undefined) values[name] = defaultOf(setting, name, file);
    else
      throw usage(
        `${file}: the setting ${name} is missing`,
        `--set ${name}=...${setting.description === undefined ? '' : `: ${setting.description}`}`,
      );
  }
  return values;
}

/** `k=v`, a later one of a name counts. */
export function readGiven(given: readonly string[]): Map<string, string> {
  const words = new Map<string, string>();
  for (const word of given) {
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_-]*)=(.*)$/s.exec(word) ?? [];
    if (name === undefined || value === undefined) throw usage(`--set: not a name and a value: ${quoted(word)}`, '--set name=value');
    words.set(name, value);
  }
  return words;
}

function readDeclared(declared: unknown, file: string): Map<string, Setting> {
  const settings = new Map<string, Setting>();
  if (declared === undefined) return settings;
  if (typeof declared !== 'object' || declared === null || Array.isArray(declared)) throw usage(`${file}: settings is not an object`);
  for (const [name, raw] of Object.entries(declared)) {
    const where = `${file}: settings.${name}`;
    if (typeof raw !== 'object' || raw === null) throw usage(`${where}: not an object`, '{type, default, description}');
    const { type, description, default: otherwise, ...more } = raw as Record<string, unknown>;
    const [unknown] = Object.keys(more);
    if (unknown !== undefined) throw usage(`${where}: unknown key ${quoted(unknown)}`, 'type, default, description');
    const known = TYPES.find((t) => t === type);
    if (known === undefined) throw usage(`${where}: type: ${quoted(String(type))} is not one of ${TYPES.join(', ')}`);
    settings.set(name, { type: known, default: otherwise, description: typeof description === 'string' ? description : undefined });
  }
  return settings;
}

function defaultOf({ type, default: value }: Setting, name: string, file: string): SettingValue {
  const where = `${file}: settings.${name}: default`;
  if (typeof value === 'string' || (type === 'range' && typeof value === 'number')) return parseValue(type, String(value), where);
  if (type === 'bool' && typeof value === 'boolean') return value;
  if ((type === 'int' || type === 'number') && typeof value === 'number') return parseValue(type, String(value), where);
  throw usage(`${where}: not ${A[type]}: ${quoted(String(value))}`);
}

const A: Readonly<Record<SettingType, string>> = {
  string: 'a string',
  int: 'a whole number',
  number: 'a number',
  bool: 'true or false',
  range: 'a range of numbers',
};

function parseValue(type: SettingType, text: string, where: string): SettingValue {
  const wrong = (): Error => usage(`${where}: not ${A[type]}: ${quoted(text)}`);
  switch (type) {
    case 'string':
      return text;
    case 'int':
      if (!/^[+-]?\d{1,15}$/.test(text)) throw wrong();
      return Number(text);
    case 'number':
      if (text.trim() === '' || !Number.isFinite(Number(text))) throw wrong();
      return Number(text);
    case 'bool':
      if (/^(?:true|yes|1)$/.test(text)) return true;
      if (/^(?:false|no|0)$/.test(text)) return false;
      throw wrong();
    case 'range':
      return parseFrames(text, where);
  }
}
