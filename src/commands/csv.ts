/** Comma separated values: the first row names the columns, every other has as many fields. */
import { CsvError, parse } from 'csv-parse/sync';
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';

/** One object for each row. Throws USAGE naming the line of a ragged row, of a quote that is not closed, or of a name that is there twice. */
export function parseCsv(text: string, flag: string, file: string): Array<Record<string, string>> {
  let rows: string[][];
  try {
    rows = parse(text, { bom: true, skip_empty_lines: true }) as string[][]; // without `columns` each record is a list of its fields
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw usage(`${flag}: ${quoted(file)}: ${said(error)}`, 'every row has as many fields as the header; quote a field with a comma in it');
  }
  const [header, ...records] = rows;
  if (header === undefined) return [];
  const names = header.map((name) => name.trim());
  const twice = names.find((name, i) => name === '' || names.indexOf(name) !== i);
  if (twice !== undefined)
    throw usage(`${flag}: ${quoted(file)}: the header ${twice === '' ? 'has a column without a name' : `names ${quoted(twice)} twice`}`);
  return records.map((fields) => Object.fromEntries(names.map((name, i) => [name, fields[i]!])));
}

/** In the words of a user: the parser's own name its options. */
function said(error: CsvError): string {
  const line = `line ${String(error['lines'])}`;
  const fields = error.code === 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH' ? /expect (\d+), got (\d+)/.exec(error.message) : null;
  if (fields !== null) return `${line}: ${fields[2]} ${fields[2] === '1' ? 'field' : 'fields'} where the header has ${fields[1]}`;
  return error.code === 'CSV_QUOTE_NOT_CLOSED' ? `${line}: a quote is not closed` : error.message;
}
