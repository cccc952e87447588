/**
 * Comma separated values as RFC 4180 has them: quoted fields with commas, newlines and doubled quotes in them. The first row names the
 * columns; every other has as many fields.
 */
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';

/** One object for each row. Throws USAGE naming the line of a ragged row, of a quote that is not closed, or of a name that is there twice. */
export function parseCsv(text: string, flag: string): Array<Record<string, string>> {
  const [header, ...rows] = records(text, flag);
  if (header === undefined) return [];
  const names = header.fields.map((name) => name.trim());
  const twice = names.find((name, i) => name === '' || names.indexOf(name) !== i);
  if (twice !== undefined)
    throw usage(`${flag}: line ${header.line}: ${twice === '' ? 'a column has no name' : `two columns are called ${quoted(twice)}`}`);
  return rows.map(({ fields, line }) => {
    if (fields.length !== names.length)
      throw usage(`${flag}: line ${line} has ${fields.length} fields, the header has ${names.length}`, 'quote a field with a comma in it');
    return Object.fromEntries(names.map((name, i) => [name, fields[i]!]));
  });
}

interface Row {
  fields: string[];
  /** Of its first character, from 1. */
  line: number;
}

function records(text: string, flag: string): Row[] {
  const rows: Row[] = [];
  let line = 1;
  let row: Row = { fields: [], line };
  let field = '';
  let inQuotes = false;
  let wasQuoted = false;
  const endField = (): void => {
    row.fields.push(field);
    field = '';
    wasQuoted = false;
  };
  const endRow = (): void => {
    endField();
    if (row.fields.length > 1 || row.fields[0] !== '') rows.push(row);
    row = { fields: [], line };
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\n') line++;
    if (inQuotes) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') field += text[++i]!;
      else inQuotes = false;
    } else if (c === '"' && field === '' && !wasQuoted) {
      inQuotes = true;
      wasQuoted = true;
    } else if (c === ',') endField();
    else if (c === '\n') endRow();
    else if (c === '\r' && text[i + 1] === '\n') continue;
    else field += c;
  }
  if (inQuotes) throw usage(`${flag}: line ${row.line}: a quote is not closed`);
  if (field !== '' || row.fields.length > 0) endRow();
  return rows;
}
