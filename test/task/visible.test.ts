import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fit, quoted, visible, visibleJson, width } from '../../src/task/visible.ts';

/** Everything that must never reach a terminal, spelled out apart from the classes that the code uses. */
function isAlive(code: number): boolean {
  return (
    code < 0x20 ||
    (code >= 0x7f && code <= 0x9f) ||
    (code >= 0x202a && code <= 0x202e) ||
    (code >= 0x2066 && code <= 0x2069) ||
    (code >= 0x200b && code <= 0x200f) ||
    code === 0x61c ||
    code === 0xad ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x2060 ||
    code === 0xfeff ||
    (code >= 0xd800 && code <= 0xdfff) ||
    (code >= 0xe0001 && code <= 0xe007f)
  );
}

const hostile = fc
  .array(fc.oneof(fc.nat(0x10ffff), fc.nat(0xff), fc.integer({ min: 0x2000, max: 0x2070 }), fc.integer({ min: 0xd800, max: 0xdfff })))
  .map((codes) => codes.map((code) => String.fromCodePoint(code)).join(''));

describe('visible', () => {
  it.each([
    ['\u001b[31mred\u001b[0m', '\\x1b[31mred\\x1b[0m'],
    ['a\nb\r\tc', 'a\\nb\\r\\tc'],
    ['\0\u0007\u007f\u009b', '\\x00\\x07\\x7f\\x9b'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['\u061c\u200e\u2066', '\\u061c\\u200e\\u2066'],
    ['a\u200bb\ufeff', 'a\\u200bb\\ufeff'],
    ['\u2028\u2029', '\\u2028\\u2029'],
    ['\ud800x', '\\ud800x'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\u{e0002}', '\\u{e0002}'],
  ])('J11: shows %j as %s', (text, shown) => {
    expect(visible(text)).toBe(shown);
  });

  it.each([
    'plain ~!@#$%^&*() text',
    'C:\\new',
    'Grüße, żółw, Ω',
    'e\u0301',
    '日本語',
    'עברית',
    '؀ العربية',
    'हिन्दी',
    '😀',
    '❤\ufe0f',
    '𝒳',
    '\u00a0',
  ])('leaves %s as it is', (text) => {
    expect(visible(text)).toBe(text);
  });

  it('J11: lets nothing through that a terminal acts on or hides, whatever the text', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect([...visible(text)].some((char) => isAlive(char.codePointAt(0)!))).toBe(false);
      }),
      { numRuns: 500 },
    );
    const codes = Array.from({ length: 0x110000 }, (_, code) => code);
    expect(
      codes.filter(
        (code) => isAlive(code) && visible(String.fromCodePoint(code)).length < 4 && code !== 0x09 && code !== 0x0a && code !== 0x0d,
      ),
    ).toEqual([]);
  });

  it('has nothing left to do on its own result', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(visible(visible(text))).toBe(visible(text));
      }),
    );
  });
});

describe('quoted', () => {
  it('is one line of bearable length whatever the text', () => {
    expect(quoted('5x')).toBe("'5x'");
    expect(quoted('a\u001b[2J\n')).toBe("'a\\x1b[2J\\n'");
    expect(width(quoted('\n'.repeat(100_000)))).toBeLessThan(140);
  });
});

describe('width', () => {
  it.each([
    ['', 0],
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['日本語', 6],
    ['ｆｕｌｌ', 8],
    ['ﾊﾝ', 2],
    ['한글', 4],
    ['\u1112\u1161\u11ab', 2],
    ['😀', 2],
    ['❤\ufe0f', 2],
    ['❤\ufe0f\ufe0f', 2],
    ['❤', 1],
    ['🇩🇪', 2],
    ['𠀋', 2],
    ['─│█', 3],
    ['…', 1],
    ['हिन्दी', 5],
  ])('of %s is %i', (text, columns) => {
    expect(width(text)).toBe(columns);
  });
});

describe('fit', () => {
  it.each([
    ['abcdef', 6, 'abcdef'],
    ['abcdef', 5, 'abcd…'],
    ['abcdef', 1, '…'],
    ['abcdef', 0, ''],
    ['日本語', 6, '日本語'],
    ['日本語', 5, '日本…'],
    ['日本語', 4, '日…'],
    ['e\u0301e\u0301e\u0301', 2, 'e\u0301…'],
    ['❤\ufe0f❤\ufe0f', 3, '❤\ufe0f…'],
    ['😀😀', 2, '…'],
  ])('makes %s fit %i columns as %s', (text, columns, cut) => {
    expect(fit(text, columns)).toBe(cut);
  });

  it('never takes more columns than there are, cuts only when it must, and keeps a beginning of the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 30 }), (text, columns) => {
        const cut = fit(text, columns);
        expect(width(cut)).toBeLessThanOrEqual(columns);
        expect(width(text) <= columns ? cut === text : cut.endsWith('…') && text.startsWith(cut.slice(0, -1))).toBe(true);
        expect(cut.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('visibleJson', () => {
  it('says the same as JSON does, and nothing in it is alive but its own line breaks', () => {
    fc.assert(
      fc.property(fc.array(hostile), fc.option(fc.constant(2), { nil: undefined }), (texts, indent) => {
        const value = { texts, [texts[0] ?? '']: 1 };
        const said = visibleJson(value, indent);
        expect(JSON.parse(said)).toEqual(JSON.parse(JSON.stringify(value)));
        expect([...said.replaceAll('\n', '')].some((char) => isAlive(char.codePointAt(0)!))).toBe(false);
        expect(said.includes('\n')).toBe(indent !== undefined);
      }),
    );
  });

  it('leaves ordinary text of any script as it is', () => {
    expect(visibleJson(['日本語 é 👍'])).toBe('["日本語 é 👍"]');
    expect(visibleJson('a\u202eb\u009bc')).toBe('"a\\u202eb\\u009bc"');
  });
});
