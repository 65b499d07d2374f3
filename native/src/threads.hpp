// Work on several threads.
#pragma once

#include <cstddef>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace athanor {

// work(t) for each t below n on a thread of its own; the first exception is thrown again.
template <typename Work>
void parallel(std::size_t n, Work work) {
    std::vector<std::exception_ptr> errors(n);
    const auto guarded = [&](std::size_t t) {
        try {
            work(t);
        } catch (...) {
            errors[t] = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    std::size_t begun = 1;
    try {
        threads.reserve(n);
        for (; begun < n; ++begun) threads.emplace_back(guarded, begun);
    } catch (const std::system_error&) { // no more threads are to be had: the rest is done here
    }
    guarded(0);
    for (std::size_t t = begun; t < n; ++t) guarded(t);
    for (std::thread& thread : threads) thread.join();
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
}

} // namespace athanor
