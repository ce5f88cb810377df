// ioctl() that throws, and the structures of KVM that end in an array.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstdint>

namespace ring3 {

/// Returns the call's result. Throws std::system_error that names the request.
int KvmIoctl(int fd, unsigned long request, const void* argument, const char* name);

// Some kernel headers declare the structures that end in an array so that C++ lays them out otherwise than C, which
// changes the requests' numbers, too. These are the same structures and numbers without such an array.

/// kvm_cpuid2 and kvm_msrs.
template <class Entry, unsigned kMost>
struct KvmList {
  uint32_t count = 0, padding = 0;
  std::array<Entry, kMost> entries{};

  Entry& Add() { return entries.at(count++); }
};
struct KvmListHead {
  uint32_t count, padding;
};
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, KvmListHead), kGetMsrs = _IOWR(KVMIO, 0x88, KvmListHead),
                               kSetMsrs = _IOW(KVMIO, 0x89, KvmListHead);

/// kvm_xsave: an XSAVE image, FXSAVE's in front.
using XsaveImage = std::array<uint8_t, 4096>;
inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xA4, XsaveImage), kSetXsave = _IOW(KVMIO, 0xA5, XsaveImage);

}  // namespace ring3
