// A large array of zeros that costs host memory only where it is written to.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace ring3 {

template <class T>
class ZeroedArray {
  static_assert(std::is_trivial_v<T>);

 public:
  /// All bytes of all elements are zero.
  explicit ZeroedArray(size_t size) : size_(size), items_(static_cast<T*>(std::calloc(size, sizeof(T)))) {
    if (!items_ && size != 0) throw std::bad_alloc();
  }
  size_t size() const { return size_; }
  T* begin() { return items_.get(); }
  T& operator[](size_t index) { return items_[index]; }
  const T& operator[](size_t index) const { return items_[index]; }

 private:
  struct Free {
    void operator()(T* items) const { std::free(items); }
  };
  size_t size_;
  std::unique_ptr<T[], Free> items_;
};

}  // namespace ring3
