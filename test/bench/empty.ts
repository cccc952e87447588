/** Nothing: what starting and ending a program costs that is compiled as tq is. */
void 0;
