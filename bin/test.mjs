#!/usr/bin/env node
/**
 * `npm test`: installs what is missing, builds, checks types and style, runs all tests, and ends with one line of counts. Words
 * after `--` go to vitest (`npm test -- test/task`). The build and each check count as one.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { install, run, tool } from './install.mjs';

const CHECKS = [
  { name: 'build', command: tool('node'), args: ['bin/build.mjs'] },
  { name: 'types', command: tool('tsc'), args: ['--noEmit'] },
  { name: 'lint', command: tool('oxlint'), args: [] },
  { name: 'format', command: tool('oxfmt'), args: ['--check', 'src', 'test', 'bin'] },
];

install();
const counts = { passed: 0, failed: 0, skipped: 0 };
for (const { name, command, args } of CHECKS) {
  console.log(`\n${[`${name}:`, path.basename(command), ...args].join(' ')}`);
  const ok = run(command, args) === 0;
  console.log(`${name}: ${ok ? 'ok' : 'FAILED'}`);
  counts[ok ? 'passed' : 'failed']++;
}
tests(process.argv.slice(2));
console.log(`${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

/** Adds what vitest counted. A file that cannot be loaded, or a run that says nothing, is a failure too. */
function tests(words) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'tq-test-'));
  const report = path.join(dir, 'report.json');
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...words];
  const status = run(tool('node'), args);
  let failed = 0;
  try {
    const said = JSON.parse(readFileSync(report, 'utf8'));
    counts.passed += said.numPassedTests;
    counts.skipped += said.numPendingTests + said.numTodoTests;
    failed = said.numFailedTests + said.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
    if (said.numTotalTests === 0) failed++;
  } catch (error) {
    console.log(`the tests left no report: ${error.message}`);
  }
  counts.failed += status !== 0 && failed === 0 ? 1 : failed;
  rmSync(dir, { recursive: true, force: true });
}
