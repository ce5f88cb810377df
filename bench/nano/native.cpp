// The rows without privilege as a program of the host, which writes the same lines.
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "rows.h"

int main(int argc, char** argv) {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 1;
  nano::code_page = static_cast<uint8_t*>(page);
  nano::ForEachRow(nano::PlainRows(), [&](const nano::Row& row) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted |= strcmp(argv[i], row.name) == 0;
    if (!wanted) return;
    const nano::Samples samples = nano::TakeSamples(row);
    printf("nano: begin %s\nnano: end %s %u", row.name, row.name, samples.iterations);
    for (uint64_t cycles : samples.cycles) printf(" %llu", static_cast<unsigned long long>(cycles));
    printf("\n");
  });
  return 0;
}
