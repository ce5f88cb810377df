// Programs that live by the kernel: each returns how much it did.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "programs.h"

namespace programs {
namespace {

void Require(bool good) {
  if (!good) exit(1);
}

/// Waits for a child and requires that it ended well.
void Reap(pid_t child) {
  int status = 0;
  Require(waitpid(child, &status, 0) == child && status == 0);
}

}  // namespace

uint32_t Getpid(uint32_t size) {
  const pid_t self = getpid();
  for (uint32_t i = 0; i < size; ++i) Require(getpid() == self);
  return size;
}

// Files, descriptors and the clock, in turn.
uint32_t SystemCalls(uint32_t size) {
  const int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
  char buffer[64];
  uint32_t done = 0;
  for (uint32_t i = 0; i < size; ++i) {
    done += read(zero, buffer, sizeof buffer) == sizeof buffer;
    done += write(null, buffer, sizeof buffer) == sizeof buffer;
    done += lseek(zero, 0, SEEK_CUR) == 0;
    done += access("/dev/null", F_OK) == 0;
    done += syscall(SYS_getppid) >= 0;
    const int copy = dup(zero);
    done += close(copy) == 0;
  }
  close(zero);
  close(null);
  return done;
}

uint32_t ForkWait(uint32_t size) {
  for (uint32_t i = 0; i < size; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    Reap(child);
  }
  return size;
}

uint32_t ForkExec(uint32_t size) {
  for (uint32_t i = 0; i < size; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", "programs", "true", static_cast<char*>(nullptr));
      _exit(1);
    }
    Reap(child);
  }
  return size;
}

uint32_t PipePingPong(uint32_t size) {
  int there[2], back[2];
  Require(pipe(there) == 0 && pipe(back) == 0);
  const pid_t child = fork();
  char byte = 0;
  if (child == 0) {
    close(there[1]);
    close(back[0]);
    while (read(there[0], &byte, 1) == 1) Require(write(back[1], &byte, 1) == 1);
    _exit(0);
  }
  close(there[0]);
  close(back[1]);
  for (uint32_t i = 0; i < size; ++i) Require(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
  close(there[1]);
  Reap(child);
  close(back[0]);
  return size;
}

// Fresh anonymous pages, each written once; small pages only.
namespace {

/// Has `use` do something with `size` new pages, some thousands at a time.
template <class Use>
uint32_t UseNewPages(uint32_t size, Use use) {
  constexpr uint32_t kPage = 4096, kPages = 4096;
  for (uint32_t done = 0; done < size; done += kPages) {
    void* memory = mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Require(memory != MAP_FAILED);
    madvise(memory, kPages * kPage, MADV_NOHUGEPAGE);
    for (uint32_t i = 0; i < kPages; ++i) use(static_cast<volatile uint8_t*>(memory) + i * kPage, kPage);
    munmap(memory, kPages * kPage);
  }
  return size;
}

}  // namespace

uint32_t PageFaults(uint32_t size) {
  return UseNewPages(size, [](volatile uint8_t* page, uint32_t) { *page = 1; });
}

uint32_t NewMemory(uint32_t size) {
  struct Node {
    uint32_t key, count;
    volatile Node* next;
    uint32_t value;
  };
  volatile Node* last = nullptr;
  return UseNewPages(size, [&last](volatile uint8_t* page, uint32_t bytes) {
    auto* nodes = reinterpret_cast<volatile Node*>(page);
    for (uint32_t i = 0; i < bytes / sizeof(Node); ++i) {
      nodes[i].key = i;
      nodes[i].next = last;
      nodes[i].value = i * 3;
      nodes[i].count = nodes[i].count + 1;
      last = &nodes[i];
    }
  });
}

}  // namespace programs
